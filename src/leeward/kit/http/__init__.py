"""What Leeward's HTTP servers share: what they answer to nonsense, and how much of it they take at a time."""
