"""Which method finds the next liked item in the whole catalogue, also among items that nobody has met."""
