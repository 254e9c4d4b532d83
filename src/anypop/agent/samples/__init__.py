"""What an agent keeps of its metrics by itself: rows of whole numbers, in three tiers on its disk."""
