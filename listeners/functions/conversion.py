"""How an entry becomes a value of a type, decided once per function."""

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Json, PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, ValidationError

from listeners.errors import BindingError, Reject
from listeners.functions.annotations import FromField, is_union, members, parts, type_name, unwrapped
from listeners.functions.entries import Entry, RedisMessage, fields_json

__all__ = ["MAX_DESCRIBED_ERRORS", "Conversion", "Converter", "conversion"]

#: Above this number of validation errors, only the number is given: building their text can take gigabytes.
MAX_DESCRIBED_ERRORS = 20
#: Types that stand for the entry itself.
MESSAGES = (RedisMessage, Any, object)
JSON_TYPE: Any = Json  # which type checkers take for Annotated
#: How text begins that is JSON and nothing else.
JSON_BEGINNINGS = (b"{", b"[", b'"')

Converter = Callable[[Entry], Any]


@dataclass(frozen=True, slots=True)
class Conversion:
    """`convert` turns an entry into a value, and raises Reject if that is not possible.

    `validates`: pydantic does it, which cannot be interrupted. `field`: the only field of an entry that is used.
    """

    convert: Converter
    validates: bool = True
    field: str | None = None


def conversion(annotation: Any, place: str) -> Conversion:
    """Return how entries become values of a type: anything that pydantic's TypeAdapter takes, or RedisMessage.

    Raises BindingError with the place and the type.
    """
    inner, metadata = unwrapped(annotation)
    fields = [one.name for one in metadata if isinstance(one, FromField)]
    if len(fields) > 1:
        raise BindingError(place, type_name(annotation), f"It has {len(fields)} FromField. Keep one.")
    field = fields[0] if fields else None
    if len(metadata) == len(fields) and (plain := _without_validation(inner, field)) is not None:
        return Conversion(plain, validates=False, field=field)
    annotation = dict[str, Any] if annotation is dict else annotation
    checked = _Checked(_adapter(annotation, place), type_name(annotation))
    _check_nested(annotation, place)
    return Conversion(_validated(annotation, checked, field), field=field)


def _without_validation(inner: Any, field: str | None) -> Converter | None:
    """Return the converter of a type that needs no validation, or None."""
    if inner in MESSAGES and field is None:
        return Entry.message
    if inner is bytes:
        return Entry.body if field is None else _value_of(field)
    if inner is not str:
        return None
    if field is None:
        return _to_text
    raw = _value_of(field)
    return lambda entry: _decoded(raw(entry))


def _validated(annotation: Any, checked: "_Checked", field: str | None) -> Converter:
    """Return a converter that gives pydantic the form of an entry that the type is made from."""
    if _takes_message(annotation):
        return lambda entry: checked.python(entry.message())
    read = _reader(annotation, checked, field)
    if read is None:
        return _of_structure(checked, needs_no_check=annotation in (dict[str, Any], dict[str, str]))
    raw = Entry.body if field is None else _value_of(field)
    return lambda entry: read(raw(entry))


def _reader(annotation: Any, checked: "_Checked", field: str | None) -> Callable[[bytes], Any] | None:
    """Return how the bytes of an entry or a field are validated, or None if its structure decides."""
    leaves = [leaf for leaf in members(annotation) if leaf is not types.NoneType]
    if _is_json_in_text(annotation):
        return checked.text_or_json
    if leaves and all(leaf is bytes for leaf in leaves):
        return checked.python
    if leaves and all(leaf is str for leaf in leaves):
        return lambda raw: checked.text(_decoded(raw))
    if leaves and all(leaf in (str, bytes) for leaf in leaves):
        return checked.text_or_bytes
    return checked.json_or_text if field is not None else None


class _Checked:
    """Validates with pydantic, and turns its errors into Reject."""

    def __init__(self, adapter: TypeAdapter[Any], name: str) -> None:
        self._adapter = adapter
        self._name = name

    def python(self, value: object) -> Any:
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            raise self._reject(error) from None

    def text(self, text: str) -> Any:
        try:
            return self._adapter.validate_strings(text)
        except ValidationError as error:
            raise self._reject(error) from None

    def text_or_bytes(self, raw: bytes) -> Any:
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return self.python(raw)
        return self.text(text)

    def json_or_text(self, raw: bytes) -> Any:
        """Validate JSON, or else the text as it is, such as a UUID without quotes; bytes that are not UTF-8 as bytes.

        Text that cannot be anything but JSON is taken as such first; other text, such as digits, keeps them all.
        """
        if raw.lstrip()[:1] not in JSON_BEGINNINGS and raw != b"null":
            return self.text_or_json(raw)
        try:
            return self._adapter.validate_json(raw)
        except ValidationError as error:
            if not _is_malformed_json(error):
                raise self._reject(error) from None
            malformed = error
        try:
            return self.text_or_bytes(raw)
        except Exception:  # noqa: BLE001  (a validator that expects an object may raise anything when it gets text)
            raise self._reject(malformed) from None

    def text_or_json(self, raw: bytes) -> Any:
        """Validate the text as it is, or else as JSON, so that digits keep them all."""
        try:
            return self.text_or_bytes(raw)
        except Reject as error:
            rejected = error
        try:
            return self._adapter.validate_json(raw)
        except ValidationError:
            raise rejected from None

    def fields(self, entry: Entry) -> Any:
        """Validate the fields of a stream entry: as strings, which strict types accept, or else as bytes."""
        flat = entry.flat_fields or ()
        try:
            parts = [part.decode() for part in flat]
            return self._adapter.validate_strings(dict(zip(parts[::2], parts[1::2], strict=True)))
        except UnicodeDecodeError:
            return self.python(_fields_with_bytes(flat))
        except ValidationError as error:
            hint = ""
            if len(flat) == 2:
                hint = f". Annotated[{self._name}, FromField(NAME)] takes the value of the entry's only field"
            raise self._reject(error, hint) from None

    def _reject(self, error: ValidationError, hint: str = "") -> Reject:
        """Describe the first problem, without the payload, which may contain what must not be logged.

        Of very many problems only the number is given, as pydantic describes all to describe one.
        """
        if error.error_count() > MAX_DESCRIBED_ERRORS:
            return Reject(f"not a valid {self._name} (errors: {error.error_count()})")
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the entry"
        return Reject(f"not a valid {self._name}: {place}: {problem['msg']} (errors: {error.error_count()}){hint}")


def _takes_message(annotation: Any) -> bool:
    """Return whether a type stands for the entry itself. In Json[Any] it does not."""
    return not _is_json_in_text(annotation) and any(leaf in MESSAGES for leaf in members(annotation))


def _is_json_in_text(annotation: Any) -> bool:
    """Return whether a type is Json or Json[TYPE], or one of them or None. They take text that is JSON."""
    inner, metadata = unwrapped(annotation)
    if any(one is JSON_TYPE or isinstance(one, JSON_TYPE) for one in (inner, *metadata)):
        return True
    alternatives = [one for one in typing.get_args(inner) if one is not types.NoneType] if is_union(inner) else []
    return bool(alternatives) and all(map(_is_json_in_text, alternatives))


def _of_structure(checked: _Checked, *, needs_no_check: bool) -> Converter:
    def convert(entry: Entry) -> Any:
        if entry.payload is not None:
            return checked.json_or_text(entry.payload)
        return _utf8_fields(entry) if needs_no_check else checked.fields(entry)

    return convert


def _adapter(annotation: Any, place: str) -> TypeAdapter[Any]:
    try:
        adapter = TypeAdapter(annotation)
        adapter.validate_json(b"")  # an undefined forward reference is only detected on use
    except ValidationError:
        return adapter
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        # The first sentence names the type; the others are for authors of pydantic types.
        reason = error.message.partition(". ")[0].rstrip(".")
    except Exception as error:  # noqa: BLE001  (a type may make its schema with any code)
        reason = f"{type(error).__name__}: {error}"
    fix = f"pydantic cannot validate it: {reason}. Annotate it as RedisMessage, or as a type that pydantic supports."
    raise BindingError(place, type_name(annotation), fix)


def _check_nested(annotation: Any, place: str) -> None:
    """Raise BindingError for what would have no effect or never validate."""
    inner, metadata = unwrapped(annotation)
    leaves, inside = list(members(annotation)), list(parts(inner))
    if any(isinstance(part, FromField) for part in inside):
        fix = "FromField has no effect inside another type. Put it around the whole: Annotated[TYPE, FromField(NAME)]."
        raise BindingError(place, type_name(annotation), fix)
    if RedisMessage in inside and RedisMessage not in leaves:
        fix = "An entry is one RedisMessage. A batch is list[RedisMessage]."
        raise BindingError(place, type_name(annotation), fix)
    if _takes_message(annotation) and any(isinstance(one, FromField) for one in metadata):
        fix = "A RedisMessage has all fields of an entry. Use message.fields, or annotate the type of one field."
        raise BindingError(place, type_name(annotation), fix)


def _value_of(field: str) -> Callable[[Entry], bytes]:
    wanted = field.encode()

    def value(entry: Entry) -> bytes:
        flat = entry.flat_fields or ()
        found = [content for name, content in zip(flat[::2], flat[1::2], strict=True) if name == wanted]
        if not found:
            raise Reject(f"the entry has no field {field!r}, which FromField names")
        return found[-1]

    return value


def _to_text(entry: Entry) -> str:
    try:
        return entry.payload.decode() if entry.payload is not None else fields_json(entry.flat_fields or (), "strict")
    except UnicodeDecodeError as error:
        raise _not_utf8(error) from None


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(error) from None


def _not_utf8(error: UnicodeDecodeError) -> Reject:
    return Reject(f"the entry is not UTF-8 ({error.reason} at byte {error.start}): annotate the parameter as bytes")


def _utf8_fields(entry: Entry) -> dict[str, str]:
    try:
        parts = iter([part.decode() for part in entry.flat_fields or ()])
    except UnicodeDecodeError as error:
        raise Reject(
            f"a field is not UTF-8 ({error.reason}): annotate the parameter as bytes or RedisMessage"
        ) from None
    return dict(zip(parts, parts, strict=True))


def _fields_with_bytes(flat: typing.Sequence[bytes]) -> dict[str, str | bytes]:
    """Return the fields with values as text where they are UTF-8, else as bytes."""
    return {_decoded(name): _text_if_utf8(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _text_if_utf8(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _is_malformed_json(error: ValidationError) -> bool:
    if error.error_count() > 1:
        return False
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return problem["type"] == "json_invalid" and not problem["loc"]
