"""What people upload: finding it, reading it, and writing the prepared dataset."""
