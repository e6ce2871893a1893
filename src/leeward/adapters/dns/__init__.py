"""An authoritative DNS server and a small client: wire formats and sockets around ``leeward.core.dns``.

Always true: every packet is answered with a bounded amount of work, or dropped; an invalid query affects only the
client that sent it, and no answer over UDP is longer than every path carries.
"""
