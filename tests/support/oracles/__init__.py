"""Expected results, computed without the package."""
