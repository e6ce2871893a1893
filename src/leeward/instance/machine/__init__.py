"""What an instance manager decides: situation in, activity, problem and the next step out.

``decide.decide`` looks at the order in force and at everything known of this PostgreSQL, and returns the next
step; the caller performs it and reports its outcome to ``outcomes.learn``. Level-triggered: a step may fail, be
interrupted by a newer order, or be repeated, and the manager may die between any two.

The shipped manager (``leeward.instance``) performs the steps on PostgreSQL, the simulator
(``leeward.sim.database``) on its model of one.
"""
