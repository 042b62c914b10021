"""Tests the wheel as users install it (`make package`)."""
