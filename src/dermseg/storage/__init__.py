"""Write files safely: whole or not at all, locked, with a journal of what is done."""
