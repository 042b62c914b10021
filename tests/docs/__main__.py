"""Runs `make reference`: writes the generated pages of the documentation."""

from tests.docs.generated import GENERATED

if __name__ == "__main__":
    for path, generate in GENERATED.items():
        path.write_text(generate())
