"""What a plugin's author needs for tests: tiny models and data, and the contract every method must pass."""
