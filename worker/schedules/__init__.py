"""Schedules: opened when their time has come, their documents read and asked where they changed, settled when answered."""
