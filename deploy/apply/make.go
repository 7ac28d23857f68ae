package apply

import (
	"cmp"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// Make plans the way from state to view. Mine is the tunnel's own journal and
// others those of the other tunnels on the host, see [Others].
//
// The errors are the refusals that leave the host as it is: an interface that
// is not ours, a key file that cannot be used.
func Make(view *tunnel.View, state *State, mine *journal.Journal, others journal.Entries) (*Plan, error) {
	asked := view
	view = Follow(asked, state)
	p := &planner{
		view: view, state: dropInside(view, state), mine: mine, others: others,
		plan:    &Plan{Tunnel: view.Tunnel, Host: view.Host, View: view},
		rotated: rotatedOf(asked, view),
	}
	if err := refuse(p); err != nil {
		return nil, err
	}
	var err error
	if p.policyRouting, err = findPolicyRouting(p); err != nil {
		return nil, err
	}
	params := &parameters{planner: p, now: sysctls(state.Sysctls).clone(), needs: map[string]bool{}}
	planSteps(params)
	noteFiles(params)
	for _, o := range state.Hurdles.Routes {
		p.plan.Beside = append(p.plan.Beside, o.Prefix)
	}
	findNowhere(p)
	findAstray(p)
	findUnrouted(p)
	findLooped(p)
	findCircles(p)
	findTranslated(p)
	findIPsec(p)
	findNoUplink(p)
	findMaster(p)
	findLeased(p)
	findUnreached(p)
	findRefused(p)
	noteOneUplink(p)
	lookBeside(p)
	judgeFirewall(p)
	return p.plan, cmp.Or(p.err, params.refuseFixed())
}

// planSteps has what each topic needs, in the one order in which nothing that stays is
// without its route, its peer or its mark for a moment.
func planSteps(params *parameters) {
	p := params.planner
	link, router := &linkPlanner{parameters: params}, &forwarding{params}
	peers, table := &peerPlanner{planner: p}, newFilterPlanner(p)

	table.isolate()
	router.keepAdvertisements()
	router.hearAdvertisementsAgain()
	tellManagers(p)
	link.addLink()
	setIPv6(params)
	link.widenLink()
	setThreads(p)
	setDevice(table)
	removed := peers.setPeers()
	setAddresses(p, beforeUp)
	link.raiseLink()
	setAddresses(p, afterUp)
	router.setForwarding()
	router.setProxies()
	addRules(p, passRules(p))
	if !unmarksFilter(p) {
		table.setFilter()
	}
	setRules(params)
	params.setSysctls()
	removeUnreachables(p)
	setRoutes(p)
	addUnreachables(p)
	setDNS(p)
	removeRules(p)
	setMark(p)
	if unmarksFilter(p) {
		table.setFilter()
	}
	peers.removePeers(removed)
	removeAddresses(p)
	restoreSysctls(router)
	link.narrowLink()
}
