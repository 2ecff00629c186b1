"""What a run tells about itself beyond its numbers."""
