package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A Blob is the content of a file in git. A content that is in many commits is one blob,
// and Path is one of its names below the top of the working tree.
type Blob struct {
	ID, Path string
	Text     []byte // valid during the call
	kind     string // as git calls it: "blob", "commit", "tag"
}

// A Message is that of a commit or of a tag.
type Message struct {
	Of, ID string // Of: "commit" or "tag"
	Text   []byte // valid during the call
}

// Staged calls do with each file, of at most limit bytes, that the next commit would add or
// change.
func Staged(ctx context.Context, dir string, limit int, do func(Blob) error) error {
	// Outside of a repository git diff compares any two files, so there has to be one.
	// Without a commit it compares with the empty tree.
	if _, err := run(ctx, dir, nil, "rev-parse", "--git-dir"); err != nil {
		return err
	}
	out, err := run(ctx, dir, nil, "diff", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames",
		"--diff-filter=d", "--no-ext-diff", "--no-color", "--ignore-submodules=all")
	if err != nil {
		return err
	}
	var names bytes.Buffer
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		// :100644 100644 OLD NEW M, then the name, which may be of several lines
		if f := strings.Fields(fields[i]); len(f) == 5 {
			fmt.Fprintf(&names, "%s %s\n", f[3], strings.ReplaceAll(fields[i+1], "\n", "\ufffd"))
		}
	}
	return blobs(ctx, dir, &names, limit, do)
}

// History calls do with each blob of at most limit bytes that a branch, a tag or the stash
// reaches, and said, which may be nil, with each message. It fails if the clone does not have
// the whole history.
func History(ctx context.Context, dir string, limit int, do func(Blob) error, said func(Message) error) error {
	if err := whole(ctx, dir); err != nil {
		return err
	}
	out, err := run(ctx, dir, nil, "rev-list", "--objects", "--all")
	if err != nil {
		return err
	}
	objects := bytes.NewReader(out)
	if said == nil {
		return blobs(ctx, dir, objects, limit, do)
	}
	return read(ctx, dir, objects, limit, []string{"blob", "commit", "tag"}, func(b Blob) error {
		if b.kind == "blob" {
			return do(b)
		}
		return said(Message{Of: b.kind, ID: b.ID, Text: message(b.Text)})
	})
}

// message returns the message in the text of a commit or of a tag, after git's own lines; and
// after it, of a commit that merged tags, theirs, which git keeps in lines of its own.
func message(text []byte) []byte {
	head, message, _ := bytes.Cut(text, []byte("\n\n"))
	message = slices.Clone(message)
	inTag := false
	for line := range bytes.Lines(head) {
		rest, more := bytes.CutPrefix(line, []byte(" "))
		if inTag = inTag && more || bytes.HasPrefix(line, []byte("mergetag ")); inTag && more {
			message = append(message, rest...)
		}
	}
	return message
}

// blobs calls do with those of the objects that are blobs.
func blobs(ctx context.Context, dir string, objects io.Reader, limit int, do func(Blob) error) error {
	return read(ctx, dir, objects, limit, []string{"blob"}, do)
}

// read calls do with the objects of some kinds. A line of objects is "ID" or "ID NAME".
func read(ctx context.Context, dir string, objects io.Reader, limit int, kinds []string, do func(Blob) error) error {
	out, err := run(ctx, dir, objects, "cat-file", "--batch-check=%(objecttype) %(objectsize) %(objectname) %(rest)")
	if err != nil {
		return err
	}
	var ids bytes.Buffer
	var paths []string
	for line := range strings.Lines(string(out)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(f) < 4 || !slices.Contains(kinds, f[0]) {
			continue
		}
		if size, err := strconv.Atoi(f[1]); err != nil || size > limit {
			continue
		}
		ids.WriteString(f[2] + "\n")
		paths = append(paths, f[3])
	}
	if len(paths) == 0 {
		return nil
	}
	return batch(ctx, dir, &ids, paths, do)
}

// batch reads the objects from one git, one after the other.
func batch(ctx context.Context, dir string, ids io.Reader, paths []string, do func(Blob) error) error {
	reading, enough := context.WithCancel(ctx)
	defer enough()
	c := command(reading, dir, "cat-file", "--batch", "--buffer")
	var said bytes.Buffer
	c.Stdin, c.Stderr = ids, &said
	pipe, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return failed(ctx, c, err, dir, "")
	}
	err = readBatch(bufio.NewReaderSize(pipe, 1<<20), paths, do)
	if err != nil {
		enough()
	}
	if end := c.Wait(); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		if end != nil {
			return failed(ctx, c, end, dir, said.String())
		}
	}
	return err
}

func readBatch(r *bufio.Reader, paths []string, do func(Blob) error) error {
	var text bytes.Buffer
	for _, path := range paths {
		head, err := r.ReadString('\n')
		if err != nil {
			return io.ErrUnexpectedEOF
		}
		f := strings.Fields(head) // ID TYPE SIZE
		if len(f) != 3 {
			return fmt.Errorf("git cat-file says %.80q", head)
		}
		size, err := strconv.ParseUint(f[2], 10, 31)
		if err != nil {
			return fmt.Errorf("git cat-file says %.80q", head)
		}
		text.Reset()
		if _, err := io.CopyN(&text, r, int64(size)+1); err != nil {
			return io.ErrUnexpectedEOF
		}
		if err := do(Blob{ID: f[0], Path: path, Text: text.Bytes()[:size], kind: f[1]}); err != nil {
			return err
		}
	}
	return nil
}
