"""The process that turns pictures into soft tokens. Nothing else that serves loads torch."""
