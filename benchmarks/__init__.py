"""What a delivery costs, beside what it would cost otherwise; see README.md."""
