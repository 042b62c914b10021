"""The wheel, as users install it: `make package`."""
