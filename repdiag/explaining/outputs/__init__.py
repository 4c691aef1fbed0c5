"""What an explanation is written as: a page, JSON, CSV, pictures, and a summary in the terminal."""
