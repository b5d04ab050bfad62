"""Subresources and reviews, a module each. They get decoded bodies and answer with Structs."""
