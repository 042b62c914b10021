"""Malformed, misplaced and unusable connection strings that contain a secret."""

__all__ = ["MARKER", "SECRET_STRINGS"]

#: Must never be shown. It has letters only, so that it could be a host, a user, a type or an option.
MARKER = "xyzzyplugh"

SECRET_STRINGS = tuple(
    form.replace("SECRET", MARKER)
    for form in (
        # Nothing but a password, or one without its option.
        "SECRET", "SECRET.SECRET", "SECRET=", "SECRET:", ":SECRET", "@SECRET", "127.0.0.1:1,SECRET", "cache,SECRET",
        "127.0.0.1:1,SECRET,ssl=True", "127.0.0.1:1,ssl=True,SECRET", "127.0.0.1:1,SECRET=x", "127.0.0.1:1 SECRET",
        "127.0.0.1:1;password=SECRET", "127.0.0.1:1,user:SECRET", "127.0.0.1:SECRET", "SECRET@127.0.0.1:1",
        "user:SECRET@127.0.0.1:1", "127.0.0.1:1/SECRET",
        # Misspelt, repeated, refused and misplaced options.
        "127.0.0.1:1,pasword=SECRET", "127.0.0.1:1,password=a,password=SECRET", "127.0.0.1:1,password=a,SECRET",
        "127.0.0.1:1,password=a,SECRET=b", "127.0.0.1:1,tunnel=SECRET", "127.0.0.1:1,$SECRET=",
        "127.0.0.1:1,ssl=SECRET",
        "127.0.0.1:1,defaultDatabase=SECRET", "127.0.0.1:1,sentinelPassword=SECRET", "password=SECRET",
        # URLs.
        "redis://SECRET@127.0.0.1:1", "redis://:SECRET", "redis://127.0.0.1:SECRET", "redis://:12#SECRET@127.0.0.1",
        "redis://:12?SECRET@127.0.0.1", "redis://:12/SECRET@127.0.0.1", "redis://127.0.0.1:1?password=SECRET",
        "redis://127.0.0.1:1?SECRET", "redis://127.0.0.1:1/SECRET", "http://:SECRET@127.0.0.1:1", "SECRET://127.0.0.1",
        "unix://SECRET@/run/x.sock", "unix://SECRET", "redis://:[SECRET@127.0.0.1:1",
        # As YAML reads them.
        "*SECRET", "&SECRET x", "!SECRET x", "{SECRET", "[SECRET", '"SECRET', "{127.0.0.1:1,password=SECRET}",
        # Well-formed, and nothing listens there.
        "127.0.0.1:1,password=SECRET", "redis://:SECRET@127.0.0.1:1", "redis://user:SECRET@127.0.0.1:1",
        "127.0.0.1:1,serviceName=main,password=SECRET,sentinelPassword=SECRET",
    )
)  # fmt: skip
