"""What a store knows of a run beside its images: what it is made with, its ledger, its solutions."""
