"""What a store keeps of a run beside its images: how it is made, its ledger, its solutions."""
