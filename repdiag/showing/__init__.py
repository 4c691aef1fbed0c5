"""What the page shows beside numbers, chosen from what was measured."""
