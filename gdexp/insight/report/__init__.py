"""A report: one HTML page that shows a run or a sweep, and needs nothing but itself."""
