"""The report's figures for papers, drawn by matplotlib."""
