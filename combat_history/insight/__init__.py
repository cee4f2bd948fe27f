"""What people see of settlement: figures, failures, explanations."""
