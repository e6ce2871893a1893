"""What Leeward's HTTP servers share: answers to invalid requests, and limits on connections and bodies."""
