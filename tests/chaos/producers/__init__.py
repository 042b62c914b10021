"""Add entries and publish messages, and keep what the server confirmed."""
