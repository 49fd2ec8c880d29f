"""Read photographs and masks from files, write masks, and draw pictures for people."""
