"""YAML with bounded aliases."""

import pytest
import yaml

from listeners.runtime.bounded_yaml import load_documents, load_yaml


def bomb(line: str, levels: int = 9) -> str:
    """Return levels of mappings, each of which refers to the level below nine times."""
    return "l0: &l0 {x: 1}\n" + "".join(line.replace("N", str(n)).replace("B", f"*l{n - 1}") for n in range(1, levels))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (bomb(f"lN: &lN [{', '.join('B' * 9)}]\n"), "more than 200,000 values"),
        (bomb(f"lN: &lN {{<<: [{', '.join('B' * 9)}], N: 1}}\n"), "more than 200,000 values"),
        ("a: &a [*a]", "the alias a refers to itself"),
        ("a: *b", "undefined alias"),
        ("[" * 10_000, "nested too deeply"),
        ("!!bool 5", "cannot be converted"),
        ("!!timestamp x", "cannot be converted"),
        ("2024-99-99", "cannot be converted"),
        ("9" * 5_000, "a number has more than 100 characters"),
        ("a: -0x" + "f" * 5_000, "a number has more than 100 characters"),
        ("a: 1." + "0" * 5_000, "a number has more than 100 characters"),
        ("!!int 1:30", "or a colon"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("a: 1\nb: {c: 1}\na: 2", "a key is given twice"),
        ("b: {c: 1, 'c': 1}", "a key is given twice"),
    ],
)
def test_text_that_is_rejected(text: str, problem: str) -> None:
    """Text that stands for too many values, or for none, is a YAMLError."""
    with pytest.raises(yaml.YAMLError) as caught:
        load_yaml(text)
    assert problem in " ".join(str(caught.value).split())


def test_ordinary_aliases() -> None:
    """Aliases and merge keys of an ordinary file have their meaning, in each document of their own."""
    text = "base: &b {keys: a}\none: {<<: *b, x: 1}\ntwo: *b\n"
    expected = {"base": {"keys": "a"}, "one": {"keys": "a", "x": 1}, "two": {"keys": "a"}}
    assert load_yaml(text) == expected
    assert list(load_documents(f"{text}---\n{text}")) == [expected, expected]
    assert load_yaml("{<<: {a: 1}, a: 2, <<: {b: 3}}") == {"a": 2, "b": 3}
    assert load_yaml("") is None


@pytest.mark.parametrize("text", ["1:30", "1" + ":0" * 200_000, "1:30.5"])
def test_no_number_is_sexagesimal(text: str) -> None:
    """Digits with colons are text, however many, and are not converted, which takes quadratic time."""
    assert load_yaml(text) == text


def test_a_lower_bound() -> None:
    """A caller may allow fewer values than usual."""
    assert load_yaml("[a, b]", 3) == ["a", "b"]
    with pytest.raises(yaml.YAMLError, match="more than 2 values"):
        load_yaml("[a, b]", 2)
