"""Turn finished trainings into one model file."""
