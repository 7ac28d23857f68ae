package keys

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"slices"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/git"
)

// settleMerge chooses one side of each vault file that both sides of a merge have encrypted
// again: rekey then encrypts it to the merged lists. A file that already holds the
// keyring's key, because the user has chosen a side, stays as it is.
func (q *Rekey) settleMerge(ctx context.Context) error {
	r := q.maker.Repo
	all, err := repo.FindUnmerged(ctx, r)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(u repo.Unmerged) bool {
		return u.File == "" || len(q.o.Hosts) > 0 && !slices.Contains(q.o.Hosts, u.Host)
	})
	var take []repo.Unmerged
	var texts [][]byte
	for _, u := range all {
		path := r.Vault.Path(u.Host, u.File)
		side, err := u.SideToTake(r)
		if slices.Contains(q.o.Skip, u.Host) || isTaken(r, u, side, err) {
			continue
		}
		if err != nil {
			return fault.WrapFile(err, "a merge is not finished:", path, "wgkeys check")
		}
		take, texts = append(take, u), append(texts, side.Text)
	}
	if len(take) == 0 {
		return nil
	}
	lists := r.Vault.Lists()
	for _, u := range take {
		if _, err := lists.Of(u.Host); err != nil {
			return err
		}
	}
	if q.o.DryRun {
		q.maker.Report.Say("a merge is not finished: of %s one side is to be taken, and encrypted again",
			repo.Counted(repo.FilesOf(take)))
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	return q.takeSides(take, texts)
}

// isTaken reports whether the working tree has the side to take or, where none can be told
// (err), an intact one, which the user has chosen. Git itself leaves ours there if the
// attributes say that the file is not to be merged (gitattributes(5), "binary").
func isTaken(r *repo.Repo, u repo.Unmerged, side git.Side, err error) bool {
	has, damaged := r.Vault.Meta(u.Host, u.File)
	if damaged != nil || err != nil {
		return damaged == nil
	}
	want, _ := u.Holds(side)
	return has.PublicKey == want.PublicKey && has.PSK == want.PSK
}

func (q *Rekey) takeSides(all []repo.Unmerged, texts [][]byte) error {
	r := q.maker.Repo
	s, err := files.NewSwapper(r.Dir, r.Vault.Dir)
	if err != nil {
		return fault.WrapFile(err, "cannot open the vault", r.Vault.Dir, "ls -ld "+ui.Quoted(r.Vault.Dir))
	}
	defer s.Close()
	for i, u := range all {
		path := r.Vault.Path(u.Host, u.File)
		now, err := files.Read(r.Dir, path, repo.MaxFile)
		if err == nil && !bytes.Equal(now, texts[i]) {
			err = s.Replace(path, texts[i], 0o600|r.Vault.Shared, sha256.Sum256(now), repo.MaxFile)
		} else if errors.Is(err, fs.ErrNotExist) {
			err = files.Create(r.Dir, path, texts[i], 0o600|r.Vault.Shared)
		}
		if err != nil {
			return fault.WrapFile(err, "cannot take a side of a merge:", path, "git status")
		}
	}
	q.maker.Report.Say("a merge is not finished: of %s one side was taken, to be encrypted again",
		repo.Counted(repo.FilesOf(all)))
	return nil
}
