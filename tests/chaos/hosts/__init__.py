"""The host processes under test (`processes`), and the app that they run (`app`)."""
