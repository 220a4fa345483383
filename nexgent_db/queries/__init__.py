"""SQL files become typed statements: read, bound to signatures, their rows made into models."""
