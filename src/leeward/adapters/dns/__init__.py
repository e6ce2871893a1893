"""An authoritative DNS server and a small client: wire formats and sockets around ``leeward.core.dns``.

Always true: whatever arrives is answered within a bounded amount of work, or dropped; a broken question harms
nobody but who asked it, and no answer over UDP is longer than what every path carries.
"""
