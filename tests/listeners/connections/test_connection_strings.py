"""Connection strings: both forms, malformed strings, and no secret in any output."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from listeners.connections.named import Connections
from listeners.connections.options import HONOURED, TUNING
from listeners.connections.spec import ConnectionSpec, Endpoint
from listeners.connections.strings import parse_connection_string
from listeners.errors import ConfigurationError, ConnectionStringError, UnknownConnectionError
from listeners.functions.declarations import parse_trigger
from listeners.functions.triggers import ListTrigger

SECRET = "hunter2"
PASSWORD = SecretStr("p@ss:w/o=r?d#%")
#: With markers, so that a password does not occur in an unrelated text by chance.
passwords = st.text(min_size=1, max_size=30).map(lambda text: f"zq{text}qz")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("localhost", ConnectionSpec("localhost", 6379)),
        ("10.0.0.1", ConnectionSpec("10.0.0.1", 6379)),
        ("cache:6380", ConnectionSpec("cache", 6380)),
        (" 127.0.0.1:6379 ", ConnectionSpec("127.0.0.1", 6379)),
        ("my_cache-1.example.com:1", ConnectionSpec("my_cache-1.example.com", 1)),
        ("[::1]:7000", ConnectionSpec("::1", 7000)),
        ("[fe80::1%eth0]", ConnectionSpec("fe80::1%eth0", 6379)),
        ("cache,ssl=True", ConnectionSpec("cache", 6380, tls=True)),
        ("cache:1,ssl=true", ConnectionSpec("cache", 1, tls=True)),
        ("cache,SSL=False", ConnectionSpec("cache", 6379)),
        ("cache,user=ann,password=b=c==", ConnectionSpec("cache", username="ann", password=SecretStr("b=c=="))),
        ("cache,password=a://b", ConnectionSpec("cache", password=SecretStr("a://b"))),
        ("password=a://b,cache:1", ConnectionSpec("cache", 1, password=SecretStr("a://b"))),
        ("ssl=True, 10.0.0.1", ConnectionSpec("10.0.0.1", 6380, tls=True)),
        ("cache:6379,password=,user=", ConnectionSpec("cache")),
        ("cache, defaultDatabase = 3 ,", ConnectionSpec("cache", database=3)),
        (
            "cache:6380,password=x,ssl=True,abortConnect=False",
            ConnectionSpec("cache", 6380, None, 0, None, SecretStr("x"), True),
        ),
        ("a:1,b:2, 10.0.0.1", ConnectionSpec("a", 1, others=(Endpoint("b", 2), Endpoint("10.0.0.1", 6379)))),
        ("a,b,password=x", ConnectionSpec("a", password=SecretStr("x"), others=(Endpoint("b", 6379),))),
        (
            "s1,s2:5,serviceName=main,password=x,sentinelUser=ann,sentinelPassword=y,defaultDatabase=2",
            ConnectionSpec(
                "s1",
                26379,
                database=2,
                password=SecretStr("x"),
                others=(Endpoint("s2", 5),),
                service="main",
                sentinel_username="ann",
                sentinel_password=SecretStr("y"),
            ),
        ),
        ("redis://", ConnectionSpec("127.0.0.1", 6379)),
        ("redis://cache", ConnectionSpec("cache", 6379)),
        ("REDIS://cache:1/2", ConnectionSpec("cache", 1, database=2)),
        ("redis://cache/?db=4", ConnectionSpec("cache", database=4)),
        ("rediss://cache:6380", ConnectionSpec("cache", 6380, tls=True)),
        ("redis://[::1]:7000/1", ConnectionSpec("::1", 7000, database=1)),
        ("redis://ann:@cache", ConnectionSpec("cache", username="ann")),
        ("redis://:p%40ss%3Aw%2Fo=r%3Fd%23%25@cache", ConnectionSpec("cache", password=PASSWORD)),
        ("redis://a%40b:c@cache", ConnectionSpec("cache", username="a@b", password=SecretStr("c"))),
        ("valkey://:x@cache:1/2", ConnectionSpec("cache", 1, database=2, password=SecretStr("x"))),
        ("valkeys://cache:6380", ConnectionSpec("cache", 6380, tls=True)),
        ("cache:1,ssl=True,sslHost=a.b", ConnectionSpec("cache", 1, tls=True, server_name="a.b")),
        ("cache:1,proxy=None,sslProtocols=Tls12|Tls13,checkCertificateRevocation=False", ConnectionSpec("cache", 1)),
        ("unix:///run/redis.sock", ConnectionSpec(unix_path="/run/redis.sock")),
        ("unix:///run/my%20redis.sock?db=2", ConnectionSpec(unix_path="/run/my redis.sock", database=2)),
        ("unix://ann:x@/r.sock", ConnectionSpec(unix_path="/r.sock", username="ann", password=SecretStr("x"))),
    ],
)
def test_valid_strings(text: str, spec: ConnectionSpec) -> None:
    """Each form of a connection string is parsed."""
    assert parse_connection_string(text) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        SECRET,
        f"{SECRET}.com",
        f"cache:1,{SECRET}",
        f"cache,{SECRET}",
        f"cache:1,{SECRET},ssl=True",
        f"password=abc,{SECRET}",
        f" ,password=abc,{SECRET}",
        f"ssl=True,{SECRET}",
        f"redis://{SECRET}@cache",
        f"rediss://{SECRET}@cache:1",
        f"unix://{SECRET}@/r.sock",
        "a..b:1",
        f"{'a' * 64}:1",
        "cache:1,ssl=True,sslHost=a b",
        "cache:1,sslHost=a",
        "cache:1,sentinelPassword=x",
        "cache:1,sentinelUser=x",
        "cache:1,password=x,password=y",
        "cache:1,SSL=True,ssl=True",
        "cache:1,keepAlive=1,keepalive=2",
        "cache:1,channelPrefix=shop:",
        "cache:1,proxy=Twemproxy",
        "cache:1,tunnel=http:proxy:1",
        "cache:1,checkCertificateRevocation=True",
        "cache:1,sslProtocols=tls13",
        "cache:1,$CONFIG=",
        f"cache:1,$CONFIG={SECRET}",
        "redis://cache/1?db=2",
        "redis://cache?db=1&db=2",
        "redis://shop.redis.cache.windows.net",
        f"redis://:{SECRET}@shop.redis.cache.windows.net:6380",
        "unix://:1/r.sock",
        ",",
        "ssl=True",
        f"cache,password=abc,{SECRET}",
        f"cache,ssl=True,{SECRET}:1",
        ",".join(["cache:1"] * 101),
        "serviceName=mymaster",
        ":6379",
        "cache:",
        "cache:0",
        "cache:65536",
        "cache:-1",
        "cache:port",
        "cache:1:2",
        "cache:" + "9" * 5000,
        "::1",
        "::1:6379",
        "[::1",
        "[]:6379",
        "[cache]:6379",
        "[::1]6379",
        "ca che:6379",
        f"{'ä.' * 5_000}:6379",
        "a" * 254 + ":6379",
        f"{SECRET}@cache:6379",
        "cache/1",
        "cache,ssl=maybe",
        "cache,ssl=",
        "cache,defaultDatabase=one",
        "cache,defaultDatabase=-1",
        "cache,defaultDatabase=",
        f"cache,pasword={SECRET}",
        f"cache,password=abc,{SECRET}=x",
        "cache,ssl_ca_certs=/etc/passwd",
        "://cache",
        f"http://:{SECRET}@cache",
        "redis+sentinel://cache",
        "redis://cache:port",
        "redis://cache:0",
        "redis://cache:65536",
        "redis://cache/one",
        "redis://cache/1/2",
        "redis://cache/-1",
        "redis://cache?db=one",
        "redis://cache?db=" + "9" * 5000,
        "redis://ca che",
        "redis://[::1",
        "redis://[cache]:1",
        f"redis://:{SECRET}",
        f"redis://cache,password={SECRET}",
        f"redis://cache:6379,password={SECRET}",
        f"redis://:12#{SECRET}@cache",
        f"redis://:12?{SECRET}=x@cache",
        f"redis://:12/{SECRET}@cache",
        "redis://cache?ssl_cert_reqs=none",
        "unix://",
        "unix:///",
        "unix://run/redis.sock",
        "unix:///r.sock?db=x",
        "unix:///r.sock?password=x",
    ],
)
def test_malformed_strings(text: str) -> None:
    """A malformed string is refused with a fix, and the error shows no part that may be a secret."""
    with pytest.raises(ConnectionStringError) as caught:
        parse_connection_string(text)
    assert (caught.value.field, caught.value.value) == ("connection_string", None)
    assert caught.value.fix.endswith(".")
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("option", "meant"),
    [("pasword", "password"), ("Username", "user"), ("database", "defaultDatabase"), ("ssl_host", "sslHost")],
)
def test_a_misspelt_option(option: str, meant: str) -> None:
    """The error about a misspelt option suggests the right one."""
    with pytest.raises(ConnectionStringError, match=rf"did you mean {meant}\?"):
        parse_connection_string(f"cache,{option}=x")


@pytest.mark.parametrize(
    ("text", "port", "tls"),
    [
        ("shop.redis.cache.windows.net:6380,password=x", 6380, True),
        ("shop.redis.cache.windows.net,password=x", 6380, True),
        ("SHOP.Redis.Cache.Windows.Net.", 6380, True),
        ("shop.redis.cache.windows.net:13000", 13000, True),
        ("shop.redis.cache.windows.net:6379", 6379, False),
        ("shop.redis.cache.windows.net,ssl=False", 6379, False),
        ("shop.redis.cache.windows.net:6380,ssl=False", 6380, False),
        ("shop.redis.cache.windows.net:6379,ssl=True", 6379, True),
        ("shop.redis.cache.chinacloudapi.cn", 6380, True),
        ("shop.redis.cache.usgovcloudapi.net", 6380, True),
        ("shop.westeurope.redisenterprise.cache.azure.net", 10000, True),
        ("shop.westeurope.redis.azure.net", 10000, True),
        ("shop.westeurope.redis.azure.net,ssl=False", 10000, False),
        ("shop.redis.chinacloudapi.cn", 10000, True),
        ("shop.redis.usgovcloudapi.net", 10000, True),
        ("rediss://shop.redis.cache.windows.net", 6380, True),
        ("rediss://shop.westeurope.redis.azure.net", 10000, True),
        ("redis://shop.redis.cache.windows.net:6379", 6379, False),
        ("cache.example:6380,password=x", 6380, False),
        ("redis.cache.windows.net.example:6380", 6380, False),
    ],
)
def test_tls_on_azure(text: str, port: int, tls: bool) -> None:
    """On Azure, a connection uses TLS and its port unless the string names the plain port, or has `ssl`."""
    spec = parse_connection_string(text)
    assert (spec.port, spec.tls) == (port, tls)


@pytest.mark.parametrize("option", TUNING.values())
def test_tuning_options(option: str) -> None:
    """Options that tune the other client are accepted, and change nothing."""
    assert parse_connection_string(f"cache:1,{option}=1") == ConnectionSpec("cache", 1)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("cache:1,channelPrefix=shop:", "Write the whole channel into the trigger"),
        ("cache:1,$CONFIG=", r"\$COMMAND"),
        ("cache:1,sslHost=a", "Add ssl=True"),
        ("cache:1,sentinelPassword=x", r"Add serviceName=\.\.\."),
        (SECRET, "password as host:port,password="),
        (f"cache:1,{SECRET}", "password as host:port,password="),
        (f"redis://{SECRET}@cache", "redis://:password@host"),
        ("redis://cache?ssl_ca_certs=/ca.crt", "ca_file"),
        ("redis+sentinel://cache", "serviceName=main"),
        ("redis://shop.redis.cache.windows.net:6380", "rediss://"),
        (f"redis://:a/{SECRET}@cache", "%2F"),
        (f"redis://:{SECRET}\n@cache", "line break"),
        ("redis://a:1,b:2", "host1:6379,host2:6379"),
        (f"cache:1 password={SECRET}", "separated by commas"),
        (f"cache:1,ssl=True,sslHost={SECRET} b", "Its sslHost is not a host name"),
    ],
)
def test_the_fix_of_a_likely_mistake(text: str, fix: str) -> None:
    """The error about a likely mistake has the fix."""
    with pytest.raises(ConnectionStringError, match=fix):
        parse_connection_string(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("cache:1,password=x,user=ann", "cache:1"),
        ("redis://ann:x@cache/2", "cache:6379/2"),
        ("[::1]:7000", "[::1]:7000"),
        ("unix:///r.sock?db=1", "/r.sock/1"),
        ("a:1,[::1]:2", "a:1,[::1]:2"),
        ("s1,s2:2,serviceName=main,sentinelPassword=x,defaultDatabase=1", "main@s1:26379,s2:2/1"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    """An address shows where Redis is, and no user or password."""
    assert parse_connection_string(text).address == address


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text raises anything but ConnectionStringError, in either form."""
    for candidate in (text, f"cache,{text}", f"redis://{text}", f"redis://cache/{text}", f"unix://{text}"):
        with contextlib.suppress(ConnectionStringError):
            parse_connection_string(candidate)


@given(passwords, st.sampled_from(["cache:1,password={}", "redis://ann:{}@cache", "{}@cache", "cache,{}=x", "{}://h"]))
def test_no_password_is_shown(password: str, form: str) -> None:
    """A password never appears in an error, a spec, an address, connections or a trigger, wherever it was given."""
    text = form.format(password)
    connections = Connections(SecretStr(text), {"cache": SecretStr(text)})
    shown = [repr(connections), str(connections)]
    for declared in ({"connection_string": text}, {"connection": text}, {"connection": "cache"}, {}):
        try:
            trigger = parse_trigger(ListTrigger, {"keys": "k", **declared})
            shown += [repr(trigger), str(trigger), trigger.model_dump_json()]
            spec = connections.resolve(trigger)
            shown += [repr(spec), str(spec), spec.address]
        except ConfigurationError as error:
            shown += [str(error), repr(error), repr(vars(error))]
    assert all(password not in text and repr(password)[1:-1] not in text for text in shown)


def test_which_connection_a_trigger_uses() -> None:
    """A trigger uses its own string, else the connection it names, ignoring case, else the default."""
    connections = Connections(SecretStr("default:1"), {"cache": SecretStr("named:2")})

    def host(**declared: object) -> str:
        return connections.resolve(parse_trigger(ListTrigger, {"keys": "k", **declared})).host

    assert host() == "default"
    assert host(connection="Cache") == "named"
    assert host(connection_string="own:3") == "own"


def test_the_default_is_local() -> None:
    """Without settings, the Redis on this machine is used."""
    assert Connections().resolve(ListTrigger(keys=("k",))).address == "127.0.0.1:6379"


def test_an_unknown_connection() -> None:
    """The error about an unknown connection lists the defined ones and how to add it."""
    connections = Connections(named={"b": SecretStr("h:1"), "a": SecretStr("h:1")})
    with pytest.raises(UnknownConnectionError) as caught:
        connections.resolve(ListTrigger(keys=("k",), connection="cache"))
    assert (caught.value.field, caught.value.value) == ("connection", "cache")
    assert "The settings define: a, b." in caught.value.fix
    assert "TRIGGERFISH_CONNECTIONS__CACHE" in caught.value.fix


def test_a_named_connection_that_does_not_parse() -> None:
    """The error about a named connection's string names the connection."""
    connections = Connections(named={"cache": SecretStr("h:port")})
    with pytest.raises(ConnectionStringError, match=r"^connections\.cache: Its port is not a whole number"):
        connections.resolve(ListTrigger(keys=("k",), connection="Cache"))


def test_every_option_is_documented() -> None:
    """The reference names every option that is honoured or accepted."""
    page = Path("docs/reference/connection-strings.md").read_text()
    assert all(f"`{option}`" in page for option in (*HONOURED.values(), *TUNING.values()))
