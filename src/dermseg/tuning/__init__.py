"""Search for the settings that train the best network."""
