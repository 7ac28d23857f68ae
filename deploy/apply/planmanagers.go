package apply

import (
	"slices"
	"strings"

	"wgkeys/deploy/apply/journal"
)

// tellManagers comes before the link: a manager that matches every interface
// must never see it as one to configure. What it took all the same it lets go
// of before the rest of the plan mends what it removed.
func tellManagers(p *planner) {
	for _, m := range p.state.Unmanaged {
		c := ManagerChange{p.view.Tunnel, m, managerRuns(p, m.Manager), true}
		switch {
		case m.Taken != "":
			p.step(c, "%s has taken the interface (%s), and is to leave it alone", m.Manager, m.Taken)
		case !m.Reads:
			p.step(c, "%s is to leave the interface alone", m.Manager)
		}
	}
}

func managerRuns(p *planner, manager string) bool { return slices.Contains(p.state.Managers, manager) }

// releaseManager is the way back, for an entry of the journal.
func releaseManager(p *planner, resource journal.Resource) {
	manager := strings.TrimPrefix(resource.Name, p.view.Tunnel+" ")
	file := p.mine.Entries[resource].Set
	if !strings.HasPrefix(file, "/") { // of a version that had one file for each
		file = ManagerFile(p.view.Tunnel, manager)
	}
	p.step(ManagerChange{p.view.Tunnel, Unmanaged{Manager: manager, File: file}, managerRuns(p, manager), false},
		"there is nothing more to leave alone")
}
