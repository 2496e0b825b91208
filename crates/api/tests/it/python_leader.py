"""A candidate of Python's own leader election on a Lease; the test beside it runs two."""

import logging
import sys
import threading

from kubernetes import config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

name = sys.argv[1]


class Told(logging.Handler):
    """The module says whom it follows in its log alone."""

    def emit(self, record):
        words = record.getMessage().split()
        if "held" in words:
            print("following", words[words.index("by") + 1], flush=True)


logging.getLogger("leaderelection").addHandler(Told())
logging.getLogger("leaderelection").setLevel(logging.INFO)


def lead():
    print("leading", flush=True)
    threading.Event().wait()


config.load_kube_config()
lock = LeaseLock("leader", "default", name)
settings = electionconfig.Config(
    lock, lease_duration=5, renew_deadline=3, retry_period=1, onstarted_leading=lead, onstopped_leading=None
)
leaderelection.LeaderElection(settings).run()
