"""What is done while a server cannot be reached, and about answers that were lost."""
