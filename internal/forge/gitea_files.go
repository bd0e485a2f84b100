package forge

import (
	"context"
	"errors"
	"net/url"
	"strconv"
)

// giteaFile is a changed file. Older versions do not name the old path of a renamed one.
type giteaFile struct {
	Filename string `json:"filename"`
	Previous string `json:"previous_filename"`
	Status   string `json:"status"`
}

// mergeRequestFiles: an administrator bounds the pages, to fewer files than are asked for, so that an
// empty page is the end.
func (r giteaClient) mergeRequestFiles(ctx context.Context, repository string, number int) (changes, error) {
	request, err := r.mergeRequest(ctx, repository, number)
	if err != nil {
		return changes{}, err
	}
	list := changes{head: request.HeadSHA}
	renamed := false
	for page := 1; page <= maxFilePages; page++ {
		query := url.Values{"page": {strconv.Itoa(page)}, "limit": {strconv.Itoa(filesPerPage)}}
		var files []giteaFile
		if err := r.get(ctx, repository, "pulls/"+strconv.Itoa(number)+"/files?"+query.Encode(), &files); err != nil {
			return changes{}, err
		}
		if files == nil {
			return changes{}, errors.New("it is null")
		}
		for _, file := range files {
			if err := list.add(file.Filename, file.Previous); err != nil {
				return changes{}, err
			}
			renamed = renamed || file.Status == "renamed" && file.Previous == ""
		}
		if len(files) == 0 {
			if renamed {
				list.unknown = "the host does not name the old path of a renamed file"
			}
			return list, nil
		}
	}
	list.cutShort()
	return list, nil
}

// compare: Gitea compares two commits by those between them, and not by their files.
func (r giteaClient) compare(context.Context, string, string, string) (changes, error) {
	return changes{unknown: "the push lists only a part of its commits, and Gitea does not compare files"}, nil
}
