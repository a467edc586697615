"""What a batch will take, and when it will be done."""
