"""What results show of themselves: pictures in notebooks, files in a folder."""
