"""Which addresses a name leads to: pure, from what one agent knows to the answer of one question.

``settings`` says which names there are; ``standing`` which regions are fit to get users; ``steering`` picks among
them; ``zone`` answers. Wire formats and sockets are ``leeward.adapters.dns``.
"""
