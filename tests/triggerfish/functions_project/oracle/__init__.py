"""What Microsoft's own worker does with functions: recorded once (`record`), and compared with ours on every Python."""
