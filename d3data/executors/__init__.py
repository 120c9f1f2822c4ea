"""Executors do jobs, in this process or in others, here or on other machines.

They know nothing of what a job is for: it is JSON, and its results are files.
"""
