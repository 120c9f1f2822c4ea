"""How threads of OpenMP wait, which libgomp asks once, when torch is loaded."""

# threads that spin while they wait for a descheduled one made steps thirty times as long where
# one other process was at work
PASSIVE: dict[str, str] = {"OMP_WAIT_POLICY": "PASSIVE"}
