"""``caravan schedule``: the options, the file format and the commands."""
