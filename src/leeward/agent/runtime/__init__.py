"""The agent in real time: performs the actions of the machine, feeds it events, and answers its API."""
