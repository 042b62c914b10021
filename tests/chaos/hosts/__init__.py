"""The host processes under test (`processes`), the app that they run (`app`), and its keys (`keys`)."""
