// An informer of @kubernetes/client-node on Leases, which says what it is told; the test beside it runs this.

const { KubeConfig, makeInformer, CoordinationV1Api } = await import(
  `${process.env.STEAD_NODE_MODULES}/@kubernetes/client-node/dist/index.js`
);

const config = new KubeConfig();
config.loadFromDefault();
const leases = config.makeApiClient(CoordinationV1Api);
const path = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const informer = makeInformer(config, path, () => leases.listNamespacedLease({ namespace: "default" }));

const say = (...words) => process.stdout.write(`${words.join(" ")}\n`);
for (const verb of ["add", "update", "delete"]) {
  informer.on(verb, (lease) => say(verb, lease.metadata.name, lease.spec.leaseTransitions));
}
informer.on("error", () => {
  say("error");
  // As its documentation has it: whoever uses it starts it again.
  setTimeout(() => informer.start(), 50);
});
await informer.start();
say("started");
